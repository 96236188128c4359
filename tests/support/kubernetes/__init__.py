"""A small Kubernetes API over HTTPS, for tests. Each pod's command runs as a process of this machine.

```python
images = {"nightshift/pipelines": Image(path="/project/.venv/bin", cwd="/project", env={"A": "b"})}
with running_kubernetes(images, nodes={"gpu-1": {"nvidia.com/gpu": "1"}, "cpu-1": {}}) as cluster:
    os.environ["KUBECONFIG"] = str(cluster.kubeconfig)  # kubectl, kubernetes and kubernetes_asyncio
    ...                                                 # create pods with any client
    cluster.wait_for("train-1", "Running")
    cluster.preempt("train-1")                          # a fault on demand
```

**Images.** A reference is looked up whole, then without tag and digest. `busybox`, `debian` and `python`
are there: the system's programs. Any other name is an ErrImagePull, then an ImagePullBackOff;
`cluster.images` may change while pods wait. The environment is the image's, the kubelet's and the
container's, never the test's own.

**Volumes** (emptyDir, ephemeral, hostPath, persistentVolumeClaim, configMap, secret, projected) are
folders. Nothing is mounted: the mount's path is replaced in command, args, env and workingDir by the
folder. A program that knows the path by heart does not find it.

**Memory** is what no file backs, of the whole process tree. Over `limits.memory` the container is OOMKilled
(137).

**Process 1.** SIGTERM reaches a command only if it handles SIGTERM, as in a container; then SIGKILL ends
it.

**Strict.** Unknown fields are 400 for every client (a real server refuses them only where a client asks for
it, as kubectl does). A name, label, namespace, service account, PriorityClass, RuntimeClass or claim that
is not there is refused as a real server does it. Quotas count.

**Scheduling** looks at requests (GPUs are `nvidia.com/gpu` of a node), taints, node selectors, required
node affinity, scheduling gates and priorities: a pod of higher priority takes the room of lower ones.
**Rights**: `cluster.kubeconfig` may do everything; `kubeconfig_of(namespace, account)` may do what stored
roles and bindings allow.

**Not simulated**: protobuf bodies (`kubectl create job`; `kubectl apply` sends JSON), probes, sidecar init
containers, exec and port-forward, LimitRanges, scopes of quotas, CronJobs, Deployments and other
controllers but that of Jobs (their objects are stored), ownership of fields in server-side apply (a field
that is left out stays).

**Faults** (methods of `Kubernetes`): `evict`, `preempt`, `node_lost`, `oom`, `delete` (somebody did),
`hold_scheduling` and `release_scheduling`, `refuse` (admission webhook), `api_errors`, `lose_answers`,
`slow`, `cut_watches`, `compact` (410), `log_gap`; `mend` takes back what is planned. `cluster.requests`
holds what was asked.
"""

from tests.support.kubernetes.double import Kubernetes, running_kubernetes
from tests.support.kubernetes.images import Image
from tests.support.kubernetes.resources import Resource, custom

__all__ = ["Image", "Kubernetes", "Resource", "custom", "running_kubernetes"]
