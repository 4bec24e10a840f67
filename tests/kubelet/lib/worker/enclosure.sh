# The first process in a worker's own namespaces: lays out what its programs see, says so, and reaps what is orphaned.
# $1: the folder of the run. Every mount made here, and below, ends with the last process.
set -eu
run=$1

# Of the cgroup hierarchies only the part below the run's own cgroup is to be seen, so that whatever containerd and the
# kubelet make lies there.
grep ' - cgroup' /proc/self/mountinfo | while read -r _ _ _ _ point rest; do
    options=${rest##* }
    umount "$point"
    case $rest in
    *' - cgroup2 '*) mount -t cgroup2 cgroup2 "$point" ;;
    *) mount -t cgroup -o "${options#rw,}" cgroup "$point" ;;
    esac
done

# containerd's shims, network namespaces, and logs have fixed places.
mount -t tmpfs run /run
mount -t tmpfs log /var/log
# The kubelet's device-plugins folder is a constant of its source: here it is the run's own.
mount -t tmpfs lib /var/lib
mkdir -p "$run/kubelet" /var/lib/kubelet
mount --bind "$run/kubelet" /var/lib/kubelet

# The kubelet sets these for the whole host, and the CNI plugin `ptp` the last one, unless they are so already: here they
# are, and the host's own stay as they were.
mkdir "$run/sysctl"
while read -r name value; do
    shadow=$run/sysctl/$(echo "$name" | tr / .)
    echo "$value" >"$shadow"
    mount --bind "$shadow" "/proc/sys/$name"
done <<VALUES
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
net/ipv4/ip_forward 1
VALUES

echo ready >"$run/enclosed"
sleep infinity &
while :; do wait; done
