"""One job: load, stylize, enhance, stage; single pictures; reproducing one."""
