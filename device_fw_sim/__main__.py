"""`python -m device_fw_sim`."""

from device_fw_sim.cli import main

main()
