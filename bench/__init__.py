"""Benchmarks: each is a ratio between two things measured in turns in one run on one machine.

Run `python -m bench --help`. Absolute figures depend on the machine, which is why they are shown beside the ratios and
never tested.

- `bench.main`: the command, the table, the JSON
- `bench.servers`: RabbitMQ, FerretDB and our processes
- `bench.load`: receipts over HTTP, by wrk
- `bench.sessions`: the dashboard's pages as browsers without eyes
- `bench.post`, `bench.flush`, `bench.memory`, `bench.dashboard`: what is measured
- `bench.storm`: the Storm engine; `bench.grouping`: two ways to count in Storm
- `bench.storm_cluster`, `bench.storm_components`: the cluster that those two run on, and their probes
- `bench.bare`, `bench.drain`: the processes that we are compared with, or that stand behind us
- `bench.faults`: no benchmark but a campaign of real faults, with a command of its own (`python -m bench.faults`)
"""
