"""Time scales of recurrent networks: simulations, autocorrelations, fits of exponentials, dimensions."""
