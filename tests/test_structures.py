"""The words that the rooms share."""

import pickle

import torch

from sotglp_mm.structures import ImageFeatures


def test_features_are_a_named_tuple_with_the_image_last():
    patches, image = torch.ones(2, 3, 4), torch.zeros(2, 4)
    feats = ImageFeatures(patches=patches, image=image)
    assert feats.patches is feats[0] is patches
    assert feats.image is feats[-1] is image
    assert feats._fields == ('patches', 'image')
    assert isinstance(feats._replace(image=patches), ImageFeatures)
    assert isinstance(pickle.loads(pickle.dumps(feats)), ImageFeatures)


def test_features_are_rebuilt_from_a_list_as_by_the_multi_task_head():
    patches, image = torch.ones(2, 3, 4), torch.zeros(2, 4)
    for feats in (ImageFeatures([patches, image]), ImageFeatures(*[patches, image])):
        assert feats.patches is patches
        assert feats.image is image
