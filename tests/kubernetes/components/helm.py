"""The real Helm: `$HELM`, else one of a known release, unpacked into the cache (`subfunction_simulator.kubectl`)."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from harness.errors import CommandFailed
from subfunction_simulator.kubectl import Program, fetch

CHART: Final = Path(__file__).parents[3] / "charts" / "subfunction"
RELEASE: Final = "subfunction"
NAMESPACE: Final = "subfunction-system"
_HELM: Final = Program(
    "helm",
    "v4.2.3",
    "aeb4645b9e6658948efa290e28dd23ae75a16fb73f137942f2294fd5c7fcb573",
    "Install Helm 4, or name one: HELM=/path/to/it",
)
_SECONDS: Final = 300


def helm() -> Path:
    """The path of a Helm; raises ProgramMissingError."""
    named = os.environ.get("HELM")
    return Path(named) if named else fetch(_HELM)


@dataclass(frozen=True, slots=True)
class Helm:
    """Helm as one user of one cluster has it; without a kubeconfig, for what needs no cluster."""

    home: Path
    kubeconfig: Path | None = None

    def __call__(self, *words: str) -> str:
        """Run it and give what it prints; raises CommandFailed with what it complains of."""
        # Of a developer's own Helm (repositories, plugins, contexts) nothing is to be seen.
        environment = {"HOME": str(self.home), "PATH": os.environ["PATH"], "HELM_NAMESPACE": NAMESPACE}
        if self.kubeconfig is not None:
            environment["KUBECONFIG"] = str(self.kubeconfig)
        done = subprocess.run(
            [str(helm()), *words], env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        if done.returncode != 0:
            raise CommandFailed(f"helm {' '.join(words[:2])}", done.returncode, done.stderr)
        return done.stdout

    def rendered(self, *words: str) -> list[dict[str, Any]]:
        """What `helm template` makes of the chart, object by object; `words` are further arguments."""
        documents = yaml.safe_load_all(self("template", RELEASE, str(CHART), *words))
        return [document for document in documents if document]
