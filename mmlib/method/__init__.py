"""The paper: policies, mixture, networks, losses, learner, acting, PBT. Opens no file."""
