"""The lifecycle node `pose_estimation`: a camera image comes in, the poses of all known objects go out on TF."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool, Trigger

from pose_estimation_ros.objects.bundle import BundleError
from pose_estimation_ros.objects.bundle_differences import differences
from pose_estimation_ros.ros.detect_service import DetectService
from pose_estimation_ros.ros.diagnostics import STAGES
from pose_estimation_ros.ros.frame_names import frame_prefix
from pose_estimation_ros.ros.image_node import ImageNode
from pose_estimation_ros.ros.inputs import Inputs
from pose_estimation_ros.ros.intake import Arrival
from pose_estimation_ros.ros.loading import LoadedPipeline, load_pipeline
from pose_estimation_ros.ros.outputs import Outputs
from pose_estimation_ros.ros.parameters import NodeParameters
from pose_estimation_ros.ros.processing import FrameProcessor
from pose_estimation_ros.ros.reloading import Reloader
from pose_estimation_ros.ros.status import StatusPublisher
from pose_estimation_ros.ros.worker import Worker

PipelineFactory = Callable[[Mapping[str, Any]], LoadedPipeline]


class PoseNode(ImageNode):
    """Wire topics, parameters, services and lifecycle to the pipeline.

    Args:
        pipeline_factory: builds the pipeline, when the node is configured, from the parameters that somebody set.
        node_arguments: passed on to rclpy's node.

    Raises:
        ValueError: if a parameter set from outside is bad.
    """

    def __init__(self, pipeline_factory: PipelineFactory = load_pipeline, **node_arguments: Any) -> None:
        super().__init__("pose_estimation", STAGES, **node_arguments)
        self._pipeline_factory = pipeline_factory
        self._loaded: LoadedPipeline | None = None
        self._outputs: Outputs | None = None
        self._processor: FrameProcessor | None = None
        self._declared = NodeParameters(self)
        self._settings = self._declared.values
        self.create_service(SetBool, "~/enable", self._on_enable)
        self.create_service(Trigger, "~/reset_tracks", self._on_reset_tracks)
        self._reloader = Reloader(self, pipeline_factory, self._put_in_force, self._has_lost_cuda)
        self._status = StatusPublisher(self, self._settings, self._statistics, self._problems, self._reloader)
        waiting = ReentrantCallbackGroup()  # everything else goes on while the service waits for its answer
        self.create_service(Trigger, "~/reload", self._on_reload, callback_group=waiting)
        self._detect = DetectService(self, self._settings, self._why_no_image)
        self._start_timers(self._settings["diagnostics_period_s"], self._settings["autostart"])

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the bundle and the networks; on failure the node stays unconfigured and says why."""
        self._problems.forget()
        self.get_logger().info(f"loading bundle {self._settings['bundle']!r}")
        start_s = time.perf_counter()
        try:
            loaded = self._pipeline_factory(self._declared.given)
            self._adopt_settings(loaded)
            prefix = frame_prefix(self._settings["frame_prefix"], self.get_namespace())
            self._outputs = Outputs(self, loaded, prefix, self._detect.is_on_demand)
            self._processor = FrameProcessor(
                loaded,
                self._outputs,
                self._settings,
                self._statistics,
                self._complain,
                self._announcements.poses,
                self._detect.calls,
            )
        except Exception as error:
            return self._not_configured(error)
        self._loaded = loaded
        names = ", ".join(model.name for model in loaded.catalog)
        self.get_logger().info(f"ready after {time.perf_counter() - start_s:.1f} s, objects: {names}")
        return super().on_configure(state)

    def _adopt_settings(self, loaded: LoadedPipeline) -> None:
        moved = ", ".join(self._declared.adopt(loaded.settings, loaded.catalog))
        if moved:
            self.get_logger().warning(f"new values from the bundle, shown as parameters after a restart: {moved}")

    def _put_in_force(self, loaded: LoadedPipeline) -> str:
        """Go on with what was reloaded; return what is new."""
        before = self._loaded
        if self._processor is None or before is None:
            raise RuntimeError(f"node is {self.state} by now")
        without = [model.name for model in loaded.catalog if model.name not in loaded.mesh_uris]
        if before.mesh_uris and without:  # methods that can do without would find less, in silence
            raise BundleError(f"{loaded.description}: no mesh of {', '.join(without)}; expected one of every object")
        with self._processor.between_frames:
            self._adopt_settings(loaded)
            self._processor.replace(loaded)
        self._loaded = loaded
        return differences(before.catalog, loaded.catalog, before.weights, loaded.weights)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the worker, and subscribe unless images are taken on demand alone."""
        assert self._processor is not None
        self._worker = Worker(self._processor.handle, self._on_image_error)
        self._worker.start()
        self._inputs = Inputs(self, self._settings["image_transport"], self._accept_image, self._deliver)
        self._detect.begin(self._inputs)
        if not self._detect.is_on_demand:
            self._inputs.open()
            self._announcements.begin(self._inputs)
        return super().on_activate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the networks and their memory."""
        self._free()
        return super().on_cleanup(state)

    def release(self) -> None:
        """Stop the worker and free the networks, in any state."""
        self._reloader.wait()
        self._stop()
        self._free()

    def _stop(self) -> None:
        self._stop_images()
        self._detect.end("the node was deactivated before an image was processed")
        self._complain(None)  # what was wrong with an image is past
        if self._outputs is not None and self.context.ok():
            self._outputs.clear_markers()

    def _free(self) -> None:
        if self._outputs is not None:
            self._outputs.destroy()
        self._loaded = self._outputs = self._processor = None
        self._collect_garbage()

    # What happens to images

    def _accept_image(self, message: Image | CompressedImage) -> bool:
        self._statistics.received()
        self._announcements.image(message)
        if self._processor is not None and self._processor.is_enabled:
            return True
        self._statistics.ignored()
        return False

    def _deliver(self, arrival: Arrival) -> None:
        if self._worker is not None:
            self._worker.put(arrival)
            self._detect.image_came(arrival.received_s)

    # Services

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        response.success = self._processor is not None
        response.message = "enabled" if request.data else "disabled: images are ignored"
        if self._processor is not None:
            self._processor.set_enabled(request.data)
            if not request.data:
                self._detect.calls.refuse("disabled by ~/enable before an image was processed")
            self._complain(None)  # what was wrong before is past
        else:
            response.message = f"node is {self.state}"
        return response

    def _on_reset_tracks(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._processor is not None
        response.message = "tracks are forgotten with the next image" if response.success else f"node is {self.state}"
        if self._processor is not None:
            self._processor.request_reset()
        return response

    def _why_no_image(self) -> str:
        """Say why no image would be processed now; empty where one would."""
        if self._processor is None or self._inputs is None:
            return f"node is {self.state}: activate it first"
        return "" if self._processor.is_enabled else "disabled by ~/enable: enable it first"

    async def _on_reload(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._processor is None:
            response.message = f"node is {self.state}: configure it, which loads the bundle"
            return response
        self.get_logger().info(f"reloading bundle {self._settings['bundle']!r}")
        response.success, response.message = await self._reloader.reload(dict(self._declared.given))
        if response.success:
            self.get_logger().info(response.message)
        else:
            self.get_logger().error(response.message)
        self._collect_garbage()
        if self._cuda_is_lost:
            self._on_cuda_lost()
        return response

    # Diagnostics

    def publish_diagnostics(self) -> None:
        """Publish one status on /diagnostics."""
        self._status.publish(self.state, self._processor, self._inputs, self._outputs, self.frames_dropped)
