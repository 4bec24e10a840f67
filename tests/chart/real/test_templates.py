"""What Helm makes of the chart, and what the real API server thinks of it."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from cyclopts import App

from components.controlplane import ControlPlane
from components.helm import CHART, Helm
from harness.errors import CommandFailed
from subfunction_deviceplugin.__main__ import app as plugin
from subfunction_deviceplugin.settings import Settings as PluginSettings
from subfunction_operator.__main__ import app as operator
from subfunction_operator.agent.settings import Settings as AgentSettings
from subfunction_operator.controller.settings import ControllerSettings

NETWORK: Final = '[{"name": "blue", "resourceName": "subfunction.dev/mlx5", "ipam": {"type": "dhcp"}}]'
VARIANTS: Final = {
    "as it is": (),
    "simulated": ("--set", "kernel=simulated"),
    "with everything": (
        "--set", "podMonitor.enabled=true,prometheusRule.enabled=true,networkPolicy.enabled=true",
        "--set", "controller.replicas=2,logFormat=json",
        "--set", "agent.seLinuxType=spc_t,agent.appArmorProfile=mine,agent.lastNumber=4294967295",
        "--set", "imagePullSecrets[0].name=mine,podMonitor.labels.release=prometheus,agent.podAnnotations.a=b",
        "--set", "resourceDomains={subfunction.dev,example.com},agent.netDevices={subfunction.dev/mlx5}",
        "--set", "agent.numberRanges={worker-*:pci/0000:03:00.0=600-799,*=1-500}",
        "--set", f"image.digest=sha256:{'0' * 64}",
        "--set-json", f"networkAttachments={NETWORK}",
    ),
    "with as little as can be": (
        "--set", "crds.enabled=false,controller.enabled=false,policy.enabled=false",
        "--set", "agent.listen=,devicePlugin.listen=,devicePlugin.seLinuxType=",
        "--set", "agent.priorityClassName=,agent.tolerations=null",
    ),
}  # fmt: skip
NOT_TOLD: Final = {
    "agent": {f"SUBFUNCTION_{name}" for name in ("KUBECONFIG", "SERVICE_ACCOUNT", "NETLINK", "DEVICES", "BOOT_ID")},
    "device-plugin": {"SUBFUNCTION_BOOT_ID"},
    "controller": {
        f"SUBFUNCTION_{name}" for name in ("KUBECONFIG", "SERVICE_ACCOUNT", "LEASE_NAMESPACE", "LEASE_NAME", "IDENTITY")
    },
}
"""What is right by itself in a pod, and before the node's own kernel."""


def stub(group: str, version: str, kind: str) -> Any:
    """A kind of somebody else's, of which the API server judges the metadata alone."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    names = {"kind": kind, "plural": f"{kind.lower()}s", "singular": kind.lower(), "listKind": f"{kind}List"}
    served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "metadata": {"name": f"{names['plural']}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [served]},
    }


@pytest.fixture(scope="module", autouse=True)
def _others(plane: ControlPlane) -> None:
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for kind in ("PodMonitor", "PrometheusRule"):
        plane.request("POST", path, stub("monitoring.coreos.com", "v1", kind))
    network = stub("k8s.cni.cncf.io", "v1", "NetworkAttachmentDefinition")
    network["spec"]["names"]["plural"] = "network-attachment-definitions"
    network["metadata"]["name"] = "network-attachment-definitions.k8s.cni.cncf.io"
    plane.request("POST", path, network)
    plane.until_served()


def test_the_chart_is_well_formed(helm: Helm) -> None:
    said = helm("lint", "--strict", str(CHART))
    assert "0 chart(s) failed" in said


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_api_server_takes_every_object_and_knows_every_field(
    helm: Helm, apply: Callable[..., str], variant: str
) -> None:
    made = helm("template", "subfunction", str(CHART), *VARIANTS[variant])
    said = apply("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", given=made)
    objects = [each for each in yaml.safe_load_all(made) if each]
    assert len(said.splitlines()) == len(objects)
    assert len(
        {(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in objects}
    ) == len(objects)


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ("crds.kep=true", "at '/crds': additional properties 'kep' not allowed"),
        ("agnet.workers=3", "additional properties 'agnet' not allowed"),
        ("agent.workers=many", "at '/agent/workers'"),
        ("kernel=windows", "at '/kernel'"),
        ("controller.replicas=3", "at '/controller/replicas'"),
        ("devicePlugin.resources.limits.memry=1Gi", "additional properties 'memry' not allowed"),
        ("records=relative/path", "at '/records'"),
    ],
)
def test_a_mistyped_value_fails_with_its_path(helm: Helm, wrong: str, path: str) -> None:
    with pytest.raises(CommandFailed) as refused:
        helm("template", "subfunction", str(CHART), "--set", wrong)
    assert path in refused.value.output


def test_an_older_cluster_is_refused(helm: Helm) -> None:
    with pytest.raises(CommandFailed, match=r"requires kubeVersion: >=1.32.0-0 which is incompatible with .*v1.31.9"):
        helm("template", "subfunction", str(CHART), "--kube-version", "v1.31.9")


def test_a_cloud_providers_version_is_not_too_old(helm: Helm) -> None:
    assert helm("template", "subfunction", str(CHART), "--kube-version", "v1.32.1-eks-1234")


def test_the_alerts_come_as_they_are(helm: Helm) -> None:
    rules = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    made = helm.rendered("--set", "prometheusRule.enabled=true")
    assert [each["spec"] for each in made if each["kind"] == "PrometheusRule"] == [rules]


def containers(helm: Helm, *words: str) -> Iterator[tuple[str, Any, Any]]:
    for made in helm.rendered(*words):
        if made["kind"] in ("DaemonSet", "Deployment"):
            pod = made["spec"]["template"]["spec"]
            yield made["metadata"]["name"].removeprefix("subfunction-"), pod, pod["containers"][0]


@pytest.mark.parametrize(
    ("kernel", "capabilities"),
    [
        ("host", {"agent": ["NET_ADMIN"], "device-plugin": [], "controller": []}),
        ("simulated", {"agent": [], "device-plugin": [], "controller": [], "simulated-kernel": ["MKNOD"]}),
    ],
)
def test_no_container_may_more_than_it_needs(helm: Helm, kernel: str, capabilities: dict[str, list[str]]) -> None:
    found = {}
    for name, pod, container in containers(helm, "--set", f"kernel={kernel}"):
        context = container["securityContext"]
        assert context["capabilities"]["drop"] == ["ALL"]
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
        assert {"privileged", "procMount"} & set(context) == set()
        assert {"hostPID", "hostIPC"} & set(pod) == set()
        assert pod["automountServiceAccountToken"] is False
        assert pod.get("hostNetwork", False) is (name == "agent" and kernel == "host")
        tokens = [volume for volume in pod["volumes"] if "projected" in volume]
        assert len(tokens) == (name in ("agent", "controller"))
        found[name] = context["capabilities"].get("add", [])
    assert found == capabilities


def test_each_folder_of_the_node_has_one_writer(helm: Helm) -> None:
    writers: dict[str, set[str]] = {}
    for name, pod, container in containers(helm):
        paths = {volume["name"]: volume["hostPath"]["path"] for volume in pod["volumes"] if "hostPath" in volume}
        for mount in container["volumeMounts"]:
            if mount["name"] in paths and not mount.get("readOnly", False):
                writers.setdefault(paths[mount["name"]], set()).add(name)
    assert writers == {
        "/sys": {"agent"},
        "/run/subfunction/devices": {"agent"},
        "/run/subfunction/allocations": {"device-plugin"},
        "/var/lib/subfunction": {"agent"},
        "/var/run/cdi": {"agent"},
        "/var/run/k8s.cni.cncf.io/devinfo/dp": {"agent"},
        "/var/lib/kubelet/device-plugins": {"device-plugin"},
        "/var/lib/kubelet/plugins_registry": {"device-plugin"},
    }


PROGRAMS: Final[dict[str, tuple[App, Any]]] = {
    "agent": (operator, AgentSettings),
    "device-plugin": (plugin, PluginSettings),
    "controller": (operator, ControllerSettings),
}


def told(program: App, container: Any, patch: pytest.MonkeyPatch) -> Any:
    """The settings that a program takes from the environment of its container."""
    for each in container["env"]:
        patch.setenv(each["name"], each.get("value", "worker-1"))
    _, bound, ignored = program.parse_args(container["command"][1:], exit_on_error=False, print_error=False)
    assert ignored == {}
    return bound.arguments["settings"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_programs_understand_what_they_are_told(helm: Helm, variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, _, container in containers(helm, *VARIANTS[variant]):
        if name in PROGRAMS:
            settings = told(PROGRAMS[name][0], container, monkeypatch)
            assert settings.log_format == ("json" if variant == "with everything" else "text")
            if name == "controller":
                continue
            folder = "/run/subfunction/simulated/sys" if variant == "simulated" else "/host/sys"
            assert (settings.sysfs, settings.records) == (Path(folder), Path("/run/subfunction/devices"))
            everything = variant == "with everything"
            domains = ("subfunction.dev", "example.com") if everything else ("subfunction.dev",)
            assert settings.resource_domains == domains
            if name == "agent":
                assert settings.node_name == "worker-1"
                assert settings.net_devices == (("subfunction.dev/mlx5",) if everything else ())
                ranges = ("worker-*:pci/0000:03:00.0=600-799", "*=1-500")
                assert settings.number_ranges == (ranges if everything else ())
                assert settings.last_number == (4294967295 if everything else 999)


def test_each_setting_reaches_its_program(helm: Helm) -> None:
    for name, _, container in containers(helm):
        if name in PROGRAMS:
            fields = dataclasses.fields(PROGRAMS[name][1])
            variables = {f"SUBFUNCTION_{field.name.upper()}" for field in fields} - NOT_TOLD[name]
            assert {each["name"] for each in container["env"]} >= variables
