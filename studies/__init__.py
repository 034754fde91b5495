"""Studies that ship with neural-alignment: YAML files to run, copy and edit."""
