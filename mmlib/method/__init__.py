"""The paper: policies, their mixture, networks, losses, learner, acting, population based training. Opens no file."""
