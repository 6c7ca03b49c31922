"""What torch's operators return for tensors on the meta device: shapes, types and layouts, as Transformers need them.

torch has such rules for all of its operators. They are written upon its compiler, which takes two seconds to load:
longer than all that is asked of a described network. The rules here are for plain uses of a few operators, and give
what torch gives. Whatever else is asked for goes to torch, and loads that.
"""
