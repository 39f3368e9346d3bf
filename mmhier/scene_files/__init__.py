"""Files for 3D programs: meshes as OBJ and PLY, animated people as GLB, BVH and USD."""

from mmhier.scene_files.bvh_file import Bvh, read_bvh, write_bvh
from mmhier.scene_files.gltf_file import write_glb
from mmhier.scene_files.mesh_file import write_obj, write_ply
from mmhier.scene_files.motion import Motion, body_note
from mmhier.scene_files.usd_file import write_usd

__all__ = [
    'Bvh',
    'Motion',
    'body_note',
    'read_bvh',
    'write_bvh',
    'write_glb',
    'write_obj',
    'write_ply',
    'write_usd',
]
