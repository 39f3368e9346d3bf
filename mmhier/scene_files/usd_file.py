"""Animated people as USD (.usd, .usda, .usdc) with UsdSkel, for Omniverse, Houdini, Maya, Blender and others.

Needs Pixar's library: ``pip install usd-core``. See :mod:`mmhier.scene_files.motion` for the world and for
what skinning cannot say.

Letters: V vertices, F triangles, J joints, T frames of a person.

Convention:
    ``upAxis`` Y, ``metersPerUnit`` 1, right-handed; a body in its rest pose faces +z. Time codes are frame
    numbers of the clip, ``timeCodesPerSecond`` is its frame rate; where the rate varies it is the mean, and
    time codes are the frames' own times in this unit. Frames in which a person was not seen are interpolated
    and the person is invisible there (Blender 5.0 does not read that: take .glb for it). All skinning weights
    are kept. The comment and ``customLayerData`` of the file name the body models, their licences and the
    camera's place.
"""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from mmhier.atomic import new_file
from mmhier.rasterizer import vertex_normals
from mmhier.scene_files.motion import Actor, Motion, Scene, make_scene

SUFFIXES = ('.usd', '.usda', '.usdc')


def write_usd(path: str | Path, motions: Sequence[Motion], origin: str = 'floor') -> Path:
    """Write people and their animation.

    Args:
        path: the file; .usda is text, the others are binary.
        motions: one per person.
        origin: 'floor' or 'camera', see :mod:`mmhier.scene_files.motion`.

    Returns:
        ``path``.

    Raises:
        ImportError: if ``usd-core`` is not installed.
        OSError: if the file cannot be written.
        ValueError: if the ending is none of USD; and see :func:`mmhier.scene_files.motion.make_scene`.
    """
    path = Path(path)
    pxr = _import_pxr()
    if path.suffix not in SUFFIXES:
        raise ValueError(f'{path}: expected a name that ends in {", ".join(SUFFIXES)}.')
    scene = make_scene(motions, origin)
    with new_file(path) as temporary:
        stage = _make_stage(pxr, scene)
        names = _prim_names(pxr, [actor.name for actor in scene.actors])
        for actor, name in zip(scene.actors, names):
            _add_actor(pxr, stage, scene, actor, f'/scene/{name}')
        try:
            written = stage.GetRootLayer().Export(str(temporary))
        except pxr.Tf.ErrorException:  # pages of text
            written = False
        if not written:
            raise OSError(f'{path} could not be written; is the disk full?')
    return path


def _import_pxr() -> ModuleType:
    try:
        import pxr
        from pxr import Gf, Sdf, Tf, Usd, UsdGeom, UsdShade, UsdSkel, Vt  # noqa: F401
    except ImportError as error:
        raise ImportError(f"USD files need Pixar's library: `pip install usd-core` ({error}).") from error
    return pxr


def _make_stage(pxr: ModuleType, scene: Scene):
    stage = pxr.Usd.Stage.CreateInMemory()
    pxr.UsdGeom.SetStageUpAxis(stage, pxr.UsdGeom.Tokens.y)
    pxr.UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    first, last = scene.frame_range
    start, end = _time_codes(scene, np.array([first, last]))
    stage.SetStartTimeCode(start)
    stage.SetEndTimeCode(end)
    stage.SetTimeCodesPerSecond(scene.fps)
    stage.SetFramesPerSecond(scene.fps)
    about = scene.describe()
    layer = stage.GetRootLayer()
    layer.comment = '\n'.join(about['body_models'])
    layer.customLayerData = about | {
        'body_models': pxr.Vt.StringArray(about['body_models']),
        'camera_position': pxr.Gf.Vec3d(*about['camera_position']),
    }
    stage.SetDefaultPrim(pxr.UsdGeom.Xform.Define(stage, '/scene').GetPrim())
    return stage


def _prim_names(pxr: ModuleType, names: Sequence[str]) -> list[str]:
    """Names that USD allows, each once."""
    valid = [pxr.Tf.MakeValidIdentifier(name) for name in names]
    return [name if valid.count(name) == 1 else f'{name}_{k}' for k, name in enumerate(valid)]


def _add_actor(pxr: ModuleType, stage, scene: Scene, actor: Actor, place: str) -> None:
    Gf, UsdSkel, Vt = pxr.Gf, pxr.UsdSkel, pxr.Vt
    root = UsdSkel.Root.Define(stage, place)
    skeleton = UsdSkel.Skeleton.Define(stage, f'{place}/skeleton')
    paths = []
    for name, parent in zip(_prim_names(pxr, actor.body.joint_names), actor.parents):
        paths.append(f'{paths[parent]}/{name}' if parent >= 0 else name)
    rest = actor.rest_joints.astype(np.float64)
    skeleton.CreateJointsAttr(Vt.TokenArray(paths))
    skeleton.CreateBindTransformsAttr(_translations(pxr, rest))
    offsets = actor.offsets.astype(np.float64)
    offsets[0] = rest[0]
    skeleton.CreateRestTransformsAttr(_translations(pxr, offsets))

    animation = UsdSkel.Animation.Define(stage, f'{place}/animation')
    animation.CreateJointsAttr(Vt.TokenArray(paths))
    animation.CreateScalesAttr(Vt.Vec3hArray([Gf.Vec3h(1, 1, 1)] * len(paths)))
    translations, rotations = animation.CreateTranslationsAttr(), animation.CreateRotationsAttr()
    codes = _time_codes(scene, actor.frame_numbers)
    for code, pose, position in zip(codes, actor.rotations, actor.root_positions):
        offsets[0] = position
        translations.Set(Vt.Vec3fArray.FromNumpy(offsets.astype(np.float32)), code)
        # USD's constructor takes (w, x, y, z).
        quaternions = [Gf.Quatf(w, x, y, z) for x, y, z, w in pose.tolist()]
        rotations.Set(Vt.QuatfArray(quaternions), code)
    binding = UsdSkel.BindingAPI.Apply(skeleton.GetPrim())
    binding.CreateAnimationSourceRel().SetTargets([animation.GetPath()])

    mesh = _add_mesh(pxr, stage, actor, f'{place}/mesh')
    joints, weights = actor.influences(len(paths))
    binding = UsdSkel.BindingAPI.Apply(mesh.GetPrim())
    binding.CreateJointIndicesPrimvar(False, joints.shape[1]).Set(
        Vt.IntArray.FromNumpy(joints.astype(np.int32).reshape(-1))
    )
    binding.CreateJointWeightsPrimvar(False, weights.shape[1]).Set(
        Vt.FloatArray.FromNumpy(weights.reshape(-1))
    )
    binding.CreateGeomBindTransformAttr(Gf.Matrix4d(1))
    binding.CreateSkeletonRel().SetTargets([skeleton.GetPath()])

    frames, visible = scene.visibility(actor)
    if len(frames) > 1:
        visibility = root.CreateVisibilityAttr()
        for code, seen in zip(_time_codes(scene, frames), visible):
            visibility.Set('inherited' if seen else 'invisible', code)


def _time_codes(scene: Scene, frames: np.ndarray) -> list[float]:
    """Whole numbers where the frame rate is constant."""
    codes = frames if scene.times_s is None else scene.seconds(frames) * scene.fps
    return codes.astype(np.float64).tolist()


def _add_mesh(pxr: ModuleType, stage, actor: Actor, place: str):
    UsdGeom, UsdShade, Vt = pxr.UsdGeom, pxr.UsdShade, pxr.Vt
    mesh = UsdGeom.Mesh.Define(stage, place)
    points = actor.rest_vertices.astype(np.float32)
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(points))
    mesh.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(np.stack([points.min(axis=0), points.max(axis=0)])))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(actor.faces), 3, np.int32)))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(actor.faces.astype(np.int32).reshape(-1)))
    mesh.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(vertex_normals(points, actor.faces).astype(np.float32)))
    mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    linear = pxr.Gf.Vec3f(*actor.colour.tolist())
    mesh.CreateDisplayColorAttr(Vt.Vec3fArray([linear]))
    material = UsdShade.Material.Define(stage, f'{place}/material')
    shader = UsdShade.Shader.Define(stage, f'{place}/material/surface')
    shader.CreateIdAttr('UsdPreviewSurface')
    shader.CreateInput('diffuseColor', pxr.Sdf.ValueTypeNames.Color3f).Set(linear)
    shader.CreateInput('roughness', pxr.Sdf.ValueTypeNames.Float).Set(0.8)
    material.CreateSurfaceOutput().ConnectToSource(shader.ConnectableAPI(), 'surface')
    UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)
    return mesh


def _translations(pxr: ModuleType, places: np.ndarray):
    """4x4 matrices that move by (J, 3), in USD's row vectors."""
    matrices = np.tile(np.eye(4), (len(places), 1, 1))
    matrices[:, 3, :3] = places
    return pxr.Vt.Matrix4dArray.FromNumpy(matrices)
