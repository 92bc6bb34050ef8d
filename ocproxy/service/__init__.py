"""The parts put together for whoever runs them: commands, scripts. Works with a server running and without one."""
