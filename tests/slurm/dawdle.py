"""A method that takes its time when it begins as a job, so that there is a middle in which it can be interrupted."""

import os
import time

from lop_lightning.algos.continual_backprop import ContinualBackprop


class Dawdle(ContinualBackprop):
    """Continual backprop; in the process of a job that saw the first task, each task waits for two seconds."""

    dawdling = False

    def on_task_start(self, population, task):
        self.dawdling |= task == 0 and "SLURM_JOB_ID" in os.environ
        time.sleep(2 * self.dawdling)
        super().on_task_start(population, task)
