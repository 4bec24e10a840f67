"""The ground that agent, controller and device plugin stand on."""
