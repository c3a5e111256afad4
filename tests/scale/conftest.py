"""FAISS on one thread, as PyTorch in all tests: what is small here waits for a second one longer than it works."""

import faiss

faiss.omp_set_num_threads(1)
