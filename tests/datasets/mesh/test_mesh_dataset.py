"""What is of no use is counted, whichever process finds it."""

from torch.utils.data import DataLoader

from mmhier.datasets.mesh.mesh_dataset import MeshDataset
from mmhier.datasets.transforms.mesh_loading import UnusableSample


class Numbers(MeshDataset):
    """Samples 0 to 59, of which every third can be used."""

    def __len__(self):
        return 60

    def get_data_info(self, index):
        if index % 3:
            raise UnusableSample(f'number {index}')
        return dict(index=index)


def test_every_worker_counts_in_its_own_place():
    alone, shared = Numbers('numbers'), Numbers('numbers')
    expected = [alone[index]['index'] for index in range(60)]
    loader = DataLoader(shared, batch_size=10, num_workers=2, collate_fn=list)
    assert [sample['index'] for batch in loader for sample in batch] == expected
    assert shared.num_skipped == alone.num_skipped > 40
    assert shared._skipped[0] == 0 and (shared._skipped[1:3] > 0).all(), 'none adds to what another one has'
