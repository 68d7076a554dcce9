"""`python -m appliance` is `homeport`."""

from appliance.cli import main

main(prog_name="homeport")
