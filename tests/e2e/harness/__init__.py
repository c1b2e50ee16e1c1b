"""What the end-to-end tests are made with: the accelerator itself, origins and name servers that do as they are told, and clients that hide nothing."""
