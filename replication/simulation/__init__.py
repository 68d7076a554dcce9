"""Fleets on a virtual clock, from one seed: the real machines over modelled disks, links and faults."""
