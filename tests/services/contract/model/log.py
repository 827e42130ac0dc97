def banner():
    return "the package's own log module"
