"""The Storm engine: the workers' flush and the totals as components of an Apache Storm topology (extra `storm`)."""
