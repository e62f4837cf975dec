"""Settings of the detector `proposals`."""

from __future__ import annotations

from pose_estimation_ros.methods.view_search_settings import ViewTableSettings
from pose_estimation_ros.settings import setting


class ProposalsSettings(ViewTableSettings):
    """What is proposed, how it is compared with rendered views, and how sure a name has to be."""

    directions: int = setting(80, "Viewing directions in the table, if the whole sphere is.", ge=12, le=2000)
    min_objectness: float = setting(
        0.05, "Things that the network is less sure to be an object are not looked at.", ge=0.0, le=1.0
    )
    max_mask_overlap: float = setting(
        0.6,
        "Of two proposals whose visible masks overlap by more (intersection over union) only the better is kept; 1 "
        "keeps both.",
        ge=0.0,
        le=1.0,
    )
    max_names: int = setting(3, "Objects that one proposal may be named after, the likeliest ones.", ge=1, le=100)
    outline_weight: float = setting(
        0.25, "What views gain for the overlap of their outline with the mask, from 0 to 1.", ge=0.0
    )
    aspect_weight: float = setting(
        0.1, "By which views lose similarity for the logarithm of their box's aspect ratio over the one seen.", ge=0.0
    )
    sharpness: float = setting(16.5, "Logarithm of the odds of a name per unit of similarity.", gt=0.0)
    rejected_similarity: float = setting(
        0.56,
        "Similarity from which a name is more likely than none, for a proposal that is as likely an object as not.",
    )
    objectness_weight: float = setting(
        0.29, "Logarithm of the odds of a name per logarithm of the odds that there is an object.", ge=0.0
    )
