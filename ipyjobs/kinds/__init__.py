"""Jobs of a special kind: shell commands, web apps, jobs that submit jobs."""
