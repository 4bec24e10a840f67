"""The first use of a type, by two threads at once."""

import subprocess
import sys

TWO_THREADS = """
import os, sys, threading
from subfunction.api.subfunction import SubFunction

BODY = {"metadata": {"name": "a", "uid": "u"}, "spec": {"nodeName": "n", "flavour": "mlx5", "parent": {"netdev": "p"}}}
sys.setswitchinterval(1e-5)
for _ in range(60):
    child = os.fork()
    if child == 0:
        together = threading.Barrier(2)
        threads = [threading.Thread(target=lambda: (together.wait(), SubFunction.of(BODY))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_two_threads_that_read_their_first_object_at_once_both_get_it() -> None:
    done = subprocess.run([sys.executable, "-c", TWO_THREADS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
