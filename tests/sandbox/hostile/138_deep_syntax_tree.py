# limits: wall=1
# expect: error memory crashed state-lost timeout
import ast
node = ast.Constant(1)
for _ in range(100_000):
    node = ast.UnaryOp(ast.USub(), node)
sys.setrecursionlimit(10**6)
eval(compile(ast.fix_missing_locations(ast.Expression(node)), "x", "eval"))
