"""A campaign of real faults: servers and processes under traffic are killed, frozen, cut off and filled up.

`python -m bench.faults --minutes 15 --seed 1 --json report.json`; the suite runs a short one. It ends with a report in
the manner of the Jepsen reports, and with 1 unless nothing was lost and nothing counted twice.

- `bench.faults.plan`: which fault comes when, from a seed
- `bench.faults.stage`: servers, processes, and the proxies between them
- `bench.faults.trouble`: carrying a fault out, and healing it
- `bench.faults.traffic`: clients, and the history of what each was answered
- `bench.faults.judge`: what became of each receipt: pure
- `bench.faults.campaign`: all of it, from start to verdict; `bench.faults.report`: for people
"""
