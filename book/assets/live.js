/* `make lite` puts the script here that makes the pages' code run in the browser. Without it, pages are for reading. */
