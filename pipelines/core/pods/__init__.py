"""Why a pod failed, in words, from the documents that Kubernetes gives. Pure; standard library only."""
