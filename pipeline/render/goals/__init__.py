"""Options that say what is wanted, and not how: the program finds the options that give it."""
