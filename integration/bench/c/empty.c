/* The least a static program costs: what exec and exit take with nothing in between. */
int main(void) { return 0; }
