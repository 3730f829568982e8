# The host's own modules may be importable; they are of no use here.
# limits: wall=8
# expect: ok error timeout
# require: held
# effect: processes_bounded
async def open_inside():
    from podium.sandbox import Limits, Sandbox
    async with Sandbox(Limits()) as inner:
        session = await inner.open()
        return await session.run("1")
def start():
    import asyncio
    return asyncio.run(open_inside())
refused("a sandbox in the sandbox", start)
import gc
for thing in gc.get_objects():
    name = type(thing).__module__
    if isinstance(name, str) and name.startswith("podium") and type(thing).__name__ in ("Sandbox", "Session", "Zygote"):
        print("ESCAPED host object", type(thing))
