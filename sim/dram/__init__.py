"""DRAM: kinds declared as data, address mapping, the controller's timing, energy per command, and where a bit lies.

``kinds/*.toml`` declare a kind (organization, timing values, rules, energies; ``docs/dram.md`` has the notation),
``kind.py`` reads them, ``rules.py`` turns the rules into tables, ``mapping.py`` maps addresses, ``engine.py`` is the
compiled FR-FCFS controller of one channel, ``system.py`` the channels together as the DMA and traces see them.
"""
