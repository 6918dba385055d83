"""Where tasks run: in this process, in processes on its cores, or on a Dask cluster.

All have the methods of a `concurrent.futures.Executor`.
"""

from lmsuite.executors.cluster import LOCAL as LOCAL
from lmsuite.executors.cluster import Cluster as Cluster
from lmsuite.executors.cluster import cluster as cluster
from lmsuite.executors.cores import SIGNALS as SIGNALS
from lmsuite.executors.cores import available_cores as available_cores
from lmsuite.executors.cores import can_fork as can_fork
from lmsuite.executors.cores import can_start_processes as can_start_processes
from lmsuite.executors.cores import limit_threads as limit_threads
from lmsuite.executors.cores import signals_blocked as signals_blocked
from lmsuite.executors.cores import start_method as start_method
from lmsuite.executors.cores import thread_count as thread_count
from lmsuite.executors.engine import Engine as Engine
from lmsuite.executors.processes import Processes as Processes
from lmsuite.executors.processes import StandingProcesses as StandingProcesses
from lmsuite.executors.tasks import in_order as in_order
