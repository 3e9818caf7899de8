"""The `tillstream` command: composes all other packages; nothing imports it.

- `cli.main`: the table of commands, exit codes, one-line errors
- `cli.settings`: every setting, and reading them once from the environment and flags
- `cli.values`: text to values
- `cli.options`: settings as flags of a command
- `cli.commands`: the commands themselves, imported when called
"""
