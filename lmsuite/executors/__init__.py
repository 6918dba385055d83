"""Where tasks run: in this process, in processes on its cores, or on a Dask cluster.

All have the methods of a `concurrent.futures.Executor`.
"""
