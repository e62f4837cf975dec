"""The parameters of the node, made from the settings models: declaration, description, range and validation."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from pose_estimation_ros.node_settings import NodeSettings, known_parameters, split_parameters
from pose_estimation_ros.objects.bundle import Bundle, BundleError, load_bundle
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.pipeline_settings import RunSettings, resolve_run
from pose_estimation_ros.settings import Layer, SettingInfo, SettingsError, nearest, resolve, values_of

if TYPE_CHECKING:
    from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
    from rclpy.node import Node
    from rclpy.parameter import Parameter

ORIGIN = "the node's parameters"


def node_settings(given: Mapping[str, Any]) -> NodeSettings:
    """Return what the parameters that somebody set say of the node itself.

    Raises:
        SettingsError: if a name is unknown or a value is bad; parameters that all ROS nodes have pass.
    """
    own, _ = split_parameters(Layer(ORIGIN, given))
    return resolve(NodeSettings, [own]).settings


def run_settings(given: Mapping[str, Any], bundle: Bundle | None) -> RunSettings:
    """Find the settings of pipeline and methods: defaults, then what the bundle says, then what somebody set.

    Raises:
        SettingsError: if a name is unknown or a value is bad.
    """
    _, others = split_parameters(Layer(ORIGIN, given))
    return resolve_run(bundle, [others])


class NodeParameters:
    """The parameters of a node, declared from the settings models, checked, and kept as they change.

    Where nothing was given and the bundle chose a value, that is the default.

    Args:
        node: on which they are declared.

    Raises:
        ValueError: if a parameter that launch files, parameter files or the command line gave is unknown or its value
            is bad; the message names parameter, value and expectation.
    """

    def __init__(self, node: Node) -> None:
        from rclpy.parameter import Parameter

        self._node, self._known = node, known_parameters()
        overrides = node._parameter_overrides  # rclpy has no public way to those that are not declared
        given = {name: _given_value(item.value, self._known.get(name)) for name, item in overrides.items()}
        own = node_settings(given)
        bundle = _readable_bundle(own.bundle)
        run = run_settings(given, bundle)
        self._catalog = None if bundle is None else bundle.catalog  # of the bundle in force
        self.given = {name: value for name, value in given.items() if name in self._known}  # what somebody set
        self.values = dict(values_of(own)) | run.values()  # of all parameters, by name
        for name, info in self._known.items():
            value = _ros_value(self.values[name], info)
            node.declare_parameter(name, value, descriptor(info, not info.at_run_time), ignore_override=True)
            if isinstance(value, Parameter.Type) and info.at_run_time:
                node.set_parameters([Parameter(name, value, [])])  # declared without a value
        node.add_pre_set_parameters_callback(self._prepare)
        node.add_on_set_parameters_callback(self._check)
        node.add_post_set_parameters_callback(self._keep)

    def adopt(self, in_force: Mapping[str, Any], catalog: Catalog) -> list[str]:
        """Take over what a bundle says that was changed or mended since; return the names whose values are new.

        What somebody set meanwhile stays.

        Raises:
            SettingsError: if it lacks an object that is looked for.
        """
        values = {**in_force, **{name: value for name, value in self.given.items() if name in in_force}}
        _refuse_unknown_objects((self.values | values)["objects"], catalog)
        changed = [name for name, value in values.items() if _plain(value) != _plain(self.values[name])]
        self.values.update(values)
        self._catalog = catalog
        return changed

    def _prepare(self, changes: list[Parameter]) -> list[Parameter]:
        """Take whole numbers for numbers, and name what is unknown: rclpy's own message does not."""
        from rclpy.exceptions import ParameterNotDeclaredException
        from rclpy.parameter import Parameter

        prepared = []
        for item in changes:
            if not self._node.has_parameter(item.name):
                raise ParameterNotDeclaredException(f"{item.name!r}; {nearest(item.name, self._known)}")
            is_number = item.name in self._known and self._known[item.name].type is float
            if is_number and item.type_ == Parameter.Type.INTEGER:
                item = Parameter(item.name, value=float(item.value))
            elif self._is_empty_list(item):  # of which ROS cannot tell the type
                item = Parameter(item.name, _list_type(self._known[item.name]), [])
            prepared.append(item)
        return prepared

    def _is_empty_list(self, item: Parameter) -> bool:
        is_list = item.name in self._known and self._known[item.name].type is tuple
        return is_list and (item.value is None or _plain(item.value) == ())

    def _check(self, changes: list[Parameter]) -> SetParametersResult:
        from rcl_interfaces.msg import SetParametersResult

        wanted = self.values | {item.name: item.value for item in changes}
        try:
            node_settings(wanted)
            objects = run_settings(wanted, None).pipeline.objects
            if self._catalog is not None:
                _refuse_unknown_objects(objects, self._catalog)
        except SettingsError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _keep(self, changes: list[Parameter]) -> None:
        changed = {item.name: _plain(item.value) for item in changes if item.name in self._known}
        self.values.update(changed)
        self.given.update(changed)


def _given_value(value: Any, info: SettingInfo | None) -> Any:
    """Return a value as settings have it: ROS gives nothing for an empty list."""
    return () if value is None and info is not None and info.type is tuple else value


def _ros_value(value: Any, info: SettingInfo) -> Any:
    """Return a value as rclpy declares it: of an empty list it cannot tell the type."""
    return (list(value) or _list_type(info)) if isinstance(value, tuple) else value


def _list_type(info: SettingInfo) -> Parameter.Type:
    from rclpy.parameter import Parameter

    return Parameter.Type.STRING_ARRAY if info.holds_texts else Parameter.Type.DOUBLE_ARRAY


def _plain(value: Any) -> Any:
    """Return arrays and lists as tuples."""
    return tuple(value) if hasattr(value, "__iter__") and not isinstance(value, str) else value


def _refuse_unknown_objects(names: Collection[str], catalog: Catalog) -> None:
    try:
        catalog.indices_of(names)
    except ValueError as error:
        raise SettingsError(f"{ORIGIN}: {error}") from error


def _readable_bundle(name: str) -> Bundle | None:
    """Return the bundle whose settings are the defaults; what is wrong with it is told when the node is configured."""
    try:
        bundle = load_bundle(name)
        resolve_run(bundle)
    except (BundleError, SettingsError):
        return None
    return bundle


def descriptor(info: SettingInfo, read_only: bool) -> ParameterDescriptor:
    """Describe a parameter: its meaning, what values are good, and whether it may change."""
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    described = ParameterDescriptor(
        description=info.description, additional_constraints=info.expected, read_only=read_only
    )
    low, high = info.minimum, info.maximum
    if low is not None and high is not None:
        if info.type is float:
            described.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
        else:
            described.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
    return described
