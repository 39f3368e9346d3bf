# MPI-INF-3DHP, bodies of NeuralAnnot; every fifth person.
mpi_inf_3dhp = dict(
    type='HumanDataset',
    name='mpi_inf_3dhp',
    ann_file=[
        'preprocessed_datasets/mpi_inf_3dhp_neural_annot_part1.npz',
        'preprocessed_datasets/mpi_inf_3dhp_neural_annot_part2.npz',
        'preprocessed_datasets/mpi_inf_3dhp_neural_annot_part3.npz',
    ],
    img_dir='MPI_INF_3DHP',
    interval=5,
)
