"""Real servers for tests: each module starts one kind of server privately, or uses the one that the environment names.

`fixtures` is the pytest plugin that offers them; nothing here is imported by the product.
"""
