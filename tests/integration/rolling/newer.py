"""`tillstream` as a release after this one: all formats that have a version have the next one.

Run as `python -m tests.integration.rolling.newer …` in place of `tillstream …`.
"""

import analytics.codec
import broker.frames
import engine.holding
import store.codec
import streams.receipts


def bring_forward() -> None:
    """Write the next version of each format, and read it, too."""
    for module, name in (
        (analytics.codec, "TALLY_VERSION"),
        (broker.frames, "FRAME_SCHEMA"),
        (engine.holding, "FRAME_SCHEMA"),
        (store.codec, "HEAD_VERSION"),
        (streams.receipts, "HASH_VERSION"),
    ):
        setattr(module, name, getattr(module, name) + 1)


if __name__ == "__main__":
    from cli.main import main

    bring_forward()
    main()
