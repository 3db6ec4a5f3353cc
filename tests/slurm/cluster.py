"""A real SLURM on one machine: munged, slurmctld and slurmd, started from a temporary configuration."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

CONFIGURATION = """
ClusterName=lop
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=cred_expire=5
SlurmUser=root
SlurmdUser=root
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MailProg=/bin/true
KillWait=5
OverTimeLimit=0
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=16000 State=UNKNOWN
PartitionName=tests Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
# cred_expire: a job that was requeued waits so long before its next turn (default: two minutes).


def missing():
    """Why there can be no cluster here, or an empty string."""
    if os.geteuid() != 0:
        return "SLURM's daemons are started as root"
    lacking = [name for name in ("munged", "slurmctld", "slurmd", "sbatch", "srun") if shutil.which(name) is None]
    return f"SLURM is not installed: no {', '.join(lacking)} (make test-slurm installs it)" if lacking else ""


class Cluster:
    """The daemons, as children of this process; leaving the ``with`` ends the jobs and the daemons."""

    def __init__(self, folder):
        self.folder, self.configuration, self.daemons = folder, folder / "slurm.conf", []

    def __enter__(self):
        host = socket.gethostname().split(".")[0]
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        self.configuration.write_text(CONFIGURATION.format(host=host, folder=self.folder, ports=_free_ports(2)))
        try:
            if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode != 0:
                Path("/run/munge").mkdir(exist_ok=True)
                shutil.chown("/run/munge", "munge", "munge")
                self._start("munged", "--foreground", user="munge", group="munge")
            self._start("slurmctld", "-D", "-f", self.configuration)
            self._start("slurmd", "-D", "-f", self.configuration)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self, name, *arguments, **options):
        with (self.folder / f"{name}.log").open("w") as log:
            daemon = subprocess.Popen([name, *arguments], stdout=log, stderr=subprocess.STDOUT, **options)
        self.daemons.append(daemon)

    def wait_until_up(self):
        """Until a step can be run; fails with what the daemons said."""
        end = time.monotonic() + 60
        while "idle" not in (said := _said("sinfo", "--noheader", "--format=%T")):
            if time.monotonic() > end or any(daemon.poll() is not None for daemon in self.daemons):
                logs = [log.read_text()[-2000:] for log in sorted(self.folder.glob("*.log"))]
                raise AssertionError("\n".join(["SLURM does not come up", said, *logs]))
            time.sleep(0.2)

    def __exit__(self, *error):
        environment = {**os.environ, "SLURM_CONF": str(self.configuration)}
        for _ in range(2):
            jobs = _said("squeue", "--noheader", "--format=%A", env=environment).split()
            if not jobs or any(not word.isdecimal() for word in jobs):
                break
            subprocess.run(["scancel", "--full", *set(jobs)], env=environment, capture_output=True, check=False)
            end = time.monotonic() + 20
            while time.monotonic() < end and _said("squeue", "--noheader", "--format=%A", env=environment).strip():
                time.sleep(0.2)
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in self.daemons:
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def queue():
    """Ids of the jobs that are queued or at work."""
    return _said("squeue", "--noheader", "--array", "--format=%i").split()


def _said(*command, **options):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout + done.stderr


def _free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
