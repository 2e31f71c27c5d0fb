//! What the validation programs of OCI runtime-tools check and no other module covers.
