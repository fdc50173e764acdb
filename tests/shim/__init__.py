"""The array-backend shim, its strict imitation of CuPy, and what keeps that honest."""
