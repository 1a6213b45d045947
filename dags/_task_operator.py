"""The operator of every task: its command runs code of a clone, and can be kept from what Airflow knows."""

import os
import pwd
import re
import shlex
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Context

ACCOUNT = "RATEWRIGHT_TASK_ACCOUNT"
"""The setting with the account that commands run under; Airflow's own where it is not set."""

_HANDED_ON = re.compile(
    r"(?!RATEWRIGHT_ALERT_WEBHOOK)"  # an address that lets whoever knows it write to the operators' channel
    r"((AIRFLOW_CTX|AWS|CUDA|DVC|GIT|LC|MLFLOW|NVIDIA|OMP|RATEWRIGHT|RAY|SSL)_.*|PYTHON.*"
    r"|HOME|LANG|LD_LIBRARY_PATH|NO_ALBUMENTATIONS_UPDATE|PATH|SHELL|TMPDIR|TZ|(?i:(http|https|no|all)_proxy))"
)
"""Names of the variables of Airflow's process that a command of another account gets."""

_BECOME = (
    "exec setpriv --reuid={0.pw_uid} --regid={0.pw_gid} --clear-groups --inh-caps=-all --ambient-caps=-all"
    " --no-new-privs env HOME={0.pw_dir} USER={0.pw_name} LOGNAME={0.pw_name} bash -c {1}"
)


class TaskOperator(BashOperator):  # type: ignore[misc]
    """Runs a command in bash, under the account that RATEWRIGHT_TASK_ACCOUNT names.

    A command of Airflow's own account can read the environment of Airflow's processes under /proc, and so the address
    of its database and the keys that it signs tokens with. The kernel refuses that to other accounts. To use one,
    Airflow needs the capabilities to change accounts (CAP_SETUID, CAP_SETGID) and to end what it started (CAP_KILL).
    """

    bash_command: str

    def execute(self, context: Context) -> Any:
        """Run the command; returns the last line that it printed."""
        if account := _account():
            self.bash_command = _BECOME.format(account, shlex.quote(self.bash_command))
        return super().execute(context)

    def get_env(self, context: Context) -> dict[str, str]:
        """The variables of the command, before the account changes.

        HOME is Airflow's: bash reads ~/.bashrc when its input is a socket, and the other account can write its own.
        """
        variables: dict[str, str] = super().get_env(context)
        if _account() is None:
            return variables
        own = self.env or {}
        return {name: value for name, value in variables.items() if name in own or _HANDED_ON.fullmatch(name)}


def open_to_command(path: Path) -> None:
    """Make `path` a file that the account of commands can write, if that is not Airflow's own.

    Args:
        path: A file that does not exist, in a folder that only Airflow can enter and whose name nobody can guess.
    """
    if _account():
        path.touch()
        path.chmod(0o666)
        path.parent.chmod(0o711)


def _account() -> pwd.struct_passwd | None:
    """The account that commands run under; None for Airflow's own."""
    name = os.environ.get(ACCOUNT)
    return pwd.getpwnam(name) if name else None
