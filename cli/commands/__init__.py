"""One module for each family of commands; `cli.main` imports the one that is called."""
