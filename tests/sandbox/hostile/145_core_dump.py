# A crash leaves no core file on the host.
# expect: crashed state-lost
import resource
try:
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
except (OSError, ValueError):
    pass
try:
    os.chdir(host.folder)
except OSError:
    pass
ctypes.string_at(0)
