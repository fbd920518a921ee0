// Not loaded by the page, and so not in the binary.
