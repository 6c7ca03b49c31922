from dtfl_private.report.words.names import dataset_name


def test_a_data_set_has_its_name_without_settings():
    assert dataset_name("digits:size=16") == "digits"
    assert dataset_name("cifar-10") == "cifar-10"
    assert dataset_name("my.package:cats:size=3") == "cats"
    assert dataset_name("object") == "own data"


def test_a_folder_of_images_is_called_by_its_folder():
    assert dataset_name("image-folder:size=64", "lesions") == "lesions (image-folder)"
    assert dataset_name("image-folder:size=64") == "image-folder"
    assert dataset_name("digits", "cache") == "digits"
