"""A carrier to develop against: SignalHouse v2 over real HTTP, with handsets and faults."""
